"""What a browser or an API client sees; knows the hub through the Protocol `HubView` only."""
