print("Hello from inside the furnace.")
sum(range(101))
