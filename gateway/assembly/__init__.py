"""The composition root's rooms: each builds one capability from the settings and hands it over as a `Part`."""
