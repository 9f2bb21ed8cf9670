"""Downloads: terms said first, resumed after a stop, verified before they get their name, unpacked in one step."""
