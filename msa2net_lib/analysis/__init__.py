"""What a network costs and what it looks at, measured on the network itself."""
