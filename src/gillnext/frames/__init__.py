"""InstructPix2Pix over frames: what an instruction makes of a clip, seen in all of its frames."""
