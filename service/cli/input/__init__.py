"""What commands read: options, files and the terminal."""
