"""What a map reacts to: noise, screening, ascent, verdict, stability."""
