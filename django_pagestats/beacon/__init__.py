"""The beacon: a script that tells the site which page somebody sees, and the endpoint that it tells; docs/beacon.md."""
