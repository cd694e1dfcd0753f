"""The smallest program: prints a line, and its last expression is the result."""

print("Hello from inside the furnace.")
sum(range(101))
