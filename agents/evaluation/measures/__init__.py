"""What is measured in a result, from books, mechanisms and network."""
