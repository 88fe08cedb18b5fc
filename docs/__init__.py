"""The pages, and the small programs that make two of them from the code."""
