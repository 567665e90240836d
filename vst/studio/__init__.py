"""The studio: a web page on which videos and the camera are painted. Needs the extra `[studio]`."""
