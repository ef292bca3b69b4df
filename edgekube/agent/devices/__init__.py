"""Devices that containers ask for by name and number: of device plugins, and of the board itself."""
