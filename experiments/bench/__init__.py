"""Side by side with the peers: same work, checked equal, medians, ratios."""
