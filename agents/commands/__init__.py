"""The commands of the program `fabmesh`, a file each."""
