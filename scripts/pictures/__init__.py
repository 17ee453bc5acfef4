"""Pictures of the page: of every view to be looked at, and a few for the guides."""
