print("kvcpu")
