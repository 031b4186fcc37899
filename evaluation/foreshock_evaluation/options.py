"""Options that several commands of the evaluation have."""

from __future__ import annotations

from pathlib import Path

from foreshock_dashboard.settings.settings import SettingsError
from foreshock_evaluation.scores.tables import between


def document_text(file: str, section: str) -> str:
    """The text of the document of `--write-docs`.

    Raises:
        SettingsError: it cannot be read, or lacks the markers of the section.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
        between(text, section, "")
    except OSError as error:
        raise SettingsError(f"--write-docs: {file}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"--write-docs: {file} {error}") from None
    return text
