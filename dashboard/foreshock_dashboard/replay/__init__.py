"""The analysis over the past: recordings, earlier instants, time ranges, seasons."""
