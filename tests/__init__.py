"""A package of this name, because learn2learn 0.2.0 installs one too, which a folder without this file would give way to."""
