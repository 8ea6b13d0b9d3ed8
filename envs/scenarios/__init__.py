"""Looking at scenarios before simulating them: what they hold, and whether there is anything to decide in them.

`python -m fabmesh.envs.scenarios list | show NAME | check FILE | sheet NAME | orders NAME | new --towns CSV --out FILE`
"""
