"""Tables of giftshop. Files are numbered without a gap; one that was applied is never edited."""
