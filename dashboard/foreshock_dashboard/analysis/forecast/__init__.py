"""Which service is at risk next, and when."""
