"""What the machine has: memory, speeds, features.

In: a device and the settings. Out: a `Machine`, frozen numbers a plan is made from. `machine` is
arithmetic without torch, `probe` asks the device.
"""
