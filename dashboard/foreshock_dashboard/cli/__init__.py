"""One file a command: flags to settings to one call; the only room with argparse and print."""
