"""The world's web server with the rehearsal's pictures: python -m gillnext.miniatures.rehearsal.server --world …"""

from __future__ import annotations

from gillnext.miniatures.rehearsal import pictures
from gillnext.miniatures.world import scenes, serve
from gillnext.miniatures.world.server import Site
from gillnext.miniatures.world.stage import STREAM


class OddSite(Site):
    """Answers as the world's site, faults too, with pictures as the web has them."""

    def picture(self, scene: int) -> bytes:
        return pictures.encoded(scenes.sample(self.seed, STREAM, scene), str(scene))


if __name__ == "__main__":  # how `server.running` starts it
    serve.alone(OddSite)
