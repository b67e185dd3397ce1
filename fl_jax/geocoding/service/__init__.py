"""The geocoder behind the APIs that clients already speak."""
