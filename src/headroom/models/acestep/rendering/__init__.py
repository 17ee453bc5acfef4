"""A song goes in, with a Run that places the networks; audio comes out."""
