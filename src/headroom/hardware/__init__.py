"""Description of the machine for the planner: memory sizes, transfer and compute rates, features.

In: a device and the settings. Out: a `Machine`, a frozen set of numbers from which plans are made.
`machine` is pure arithmetic without torch; `probe` queries the device.
"""
