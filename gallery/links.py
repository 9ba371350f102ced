"""Where pages lead: to files of a folder, or to places in one single file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderLinks:
    """Links of a page that lies `depth` folders deep in a gallery."""

    depth: int
    single: bool = False

    @property
    def root(self) -> str:
        """The way to the gallery's folder."""
        return "../" * self.depth

    def source(self, name: str) -> str:
        """An image file's address."""
        return self.root + name

    def grid(self, fragment: str = "") -> str:
        """The grid in a state."""
        return f"{self.root}index.html{'#' if fragment else ''}{fragment}"

    def layer(self, index: int) -> str:
        """A layer's page."""
        return f"{self.root}layers/{index:03d}.html"

    def tiles(self, index: int, page: int) -> str:
        """A page of a layer's tiles."""
        return f"{self.root}layers/{index:03d}-p{page}.html"


@dataclass(frozen=True)
class SingleLinks:
    """Links within one file; images are part of the page."""

    folder: Path
    single: bool = True

    def source(self, name: str) -> str:
        """An image as a data address."""
        return data_address(self.folder / name)

    def grid(self, fragment: str = "") -> str:
        """The grid in a state."""
        return f"#{fragment}"

    def layer(self, index: int) -> str:
        """The grid of a layer: its page is a part of this one."""
        return f"#layer={index}"

    def tiles(self, index: int, page: int) -> str:
        """The grid of a layer."""
        return f"#layer={index}"


Links = FolderLinks | SingleLinks


def data_address(path: Path) -> str:
    """A WebP file as an address that holds its content."""
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}"
