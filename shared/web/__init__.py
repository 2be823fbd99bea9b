"""HTTP as PS3.18 sees it: media types, multipart, conditional requests, problems. Pure."""
