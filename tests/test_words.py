"""No user-visible text has a word that the field does not use: pages, help, alerts, metrics, and documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest
import yaml

from foreshock_dashboard.cli.commands import COMMAND
from foreshock_dashboard.cli.main import main
from foreshock_exporter.options import parse

ROOT = Path(__file__).parents[1]
WEB = "dashboard/foreshock_dashboard/web"
PACKAGES = (
    "dashboard/foreshock_dashboard",
    "exporter/foreshock_exporter",
    "simulator/foreshock_simulator",
    "evaluation/foreshock_evaluation",
    "lab/foreshock_lab",
    "lab/services",
    "grafana",
)
NOT_READ = {
    "simulator.md": "tables of scenarios, of which one is called `starve`",
    "morphdom.js": "a library",
    "test_words.py": "lists the banned words",
    "test_docs_site.py": "the same",
}
"""Names of files, and why."""
BANNED: Mapping[str, str] = {
    r"objectives?|promise[sd]?": "SLO",
    r"usual(ly)?|out of the ordinary": "baseline, normal range",
    r"starve[sd]?|starving|fights?|fought|in peace": "noisy neighbor, GPU contention, GPU wait",
    r"culprits?|guilty|blamed?|whose doing|suffers?|victims?": "suspected cause, affected service",
    r"advisor(y|ies)|woken|calms? down": "early warning, to page, recovering",
    r"told|tells?|telling|nobody|somebody|anybody|whoever": "reported by, no data",
    r"asked for|asks for|is asked|gave up|gives? up(?! to)|thrown out": "overloaded, abandoned, preempted",
    r"anew|mend(s|ed)?|undo|in vain|of its own|for want of": "again, fix, roll back, unmatched, dedicated",
    r"held back|held down|hold back|stands? still": "throttled, stale",
    r"as likely as not|sure whose|more than it carries|worse than": "median, confidence, overloaded, degraded",
    r"time-outs?|neighbou?r(?<!neighbor)s?|colour\w*|utilis\w+|post-mortems?": "timeout, neighbor, color, utilization",
    r"retried again|segments again|memory for keys": "TCP retransmits, KV cache",
    r"(first|last) tick|tick failed|upkeep|inbox|damaged segments?|(to|in) segments": "evaluation, WAL, block",
    r"\d+ %|\}\} %": "percent sign without a space",
}  # fmt: skip
"""Regular expressions of banned words, and what to use instead."""
CATALOGED = ("pages/now", "assets/timeline")
"""Folders of scripts without words around values."""
SENTENCE = re.compile(
    r"[a-z)]\.(?=\s|$)(?<!e\.g\.)(?<!vs\.)|^\W*(no|none|not|nothing) "
    r"|\b(is|are|was|were|has|have|cannot|does|do|needs?)\b",
    re.IGNORECASE,
)
"""A text of the catalog: it has a full stop or a finite verb, or says that something is missing.

Others are layout: headings, legends, hints, and labels, which say nothing about the services.
"""
WORDS = re.compile(r"\b(" + "|".join(BANNED) + r")(?!\w)", re.IGNORECASE)
ALLOWED: Mapping[str, str] = {
    "simulate starve": "name of a scenario",
    "scenarios starve": "the same",
    "ratio objective": "names of fields of scenario files",
    "victim=": "names of parameters and labels of a GPU-wait pair, as in the literature",
    "victim, aggressor": "the same",
    "victim aggressor": "the same",
}
"""Parts of texts that may contain a banned word, and why."""
ALLOWED_CODE = re.compile(
    r"Promise|\.tell\(\)|\bvictims?\b|rollout|undo|inbox|objectives?|starve\b|segment in segments"
    r"|pg( try)? advisory|(cpu|memory) utilisation:|\\told|\d % (\d|\(|len\()",
    re.IGNORECASE,
)
"""Parts of code that may be a banned word: names of JavaScript, Python, and kubectl, labels of a GPU-wait pair as in
the literature, names in files of earlier versions and in scenarios, one scenario, names of
node_exporter's rules, functions of PostgreSQL, an escaped tab, and the remainder of a division."""
IDENTIFIER = re.compile(r"[a-z0-9_./:{}#@$<>\-\[\]=\"'^+*|()?\\]*")
"""A string without spaces or capital letters names something for programs, and is shown to nobody."""


def banned(text: str) -> list[str]:
    """The banned words of a text."""
    for part in ALLOWED:
        text = text.replace(part, "")
    return [match[0] for match in WORDS.finditer(text)]


def python_texts(path: Path) -> Iterator[str]:
    """The string literals of a module that may be shown; docstrings are not."""
    tree = ast.parse(path.read_text())
    bodies = [node for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    docs = {
        id(statement.value)
        for node in bodies
        for statement in node.body  # type: ignore[attr-defined]  # checked above
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docs:
            continue
        if not IDENTIFIER.fullmatch(node.value):
            yield node.value


def shown_texts(path: Path) -> Iterator[str]:
    """The texts of a module that a page may show, with 0 for their values.

    Not docstrings, messages of exceptions, descriptions of fields of the API, and HTML.
    """
    other: set[int] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring or isinstance(node, ast.Raise) or called == "Field" or called.endswith("Error"):
            other |= set(map(id, ast.walk(node)))
        elif isinstance(node, ast.JoinedStr):
            other |= set(map(id, node.values))
    for node in ast.walk(tree):
        if id(node) in other:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match("[^<]* ", node.value):
            yield node.value


def script_texts(path: Path) -> Iterator[str]:
    """The string literals of a script that may be shown, without comments, errors, and the values within templates."""
    source = re.sub(r"/\*.*?\*/|^\s*//[^\n]*|new Error\([^\n]*", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for match in re.finditer(r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`', source):
        text = re.sub(r"\$\{[^{}]*\}", "0", match[0][1:-1])
        if not IDENTIFIER.fullmatch(text):
            yield text


def script_templates(path: Path) -> Iterator[str]:
    """The template literals of a script that may be shown, with 0 for their values; lists of CSS classes are not."""
    source = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for match in re.finditer(r"`((?:[^`\\]|\\.)*\$\{(?:[^`\\]|\\.)*)`", source):
        text = re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "0", match[1])
        if not re.fullmatch(r"[a-z0-9-]+( [a-z0-9-]+)*", text) or "-" not in text:
            yield text


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that lead to a command and to each command below it."""
    yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))


def found(texts: Sequence[str]) -> list[str]:
    """The banned words in some texts, each with its text."""
    return [f"{words}: {text}" for text in texts if (words := banned(text))]


def files(folder: str, suffix: str) -> list[Path]:
    """The files of a folder and below it that are read; there are some."""
    read = [path for path in sorted((ROOT / folder).rglob(f"*{suffix}")) if path.name not in NOT_READ]
    assert read, folder
    return read


def found_in(folder: str, suffix: str, texts_of: Callable[[Path], Iterable[str]]) -> list[str]:
    """The banned words in the texts of all files of a folder, each with its file and text."""
    return [
        f"{path.relative_to(ROOT)}: {fault}" for path in files(folder, suffix) for fault in found(list(texts_of(path)))
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X starves Y", ["starves"]),
        ("p95 14.6 s (SLO 17.3 s)", []),
        ("load 82 %", ["82 %"]),
        ("Noisy neighbour", ["neighbour"]),
        ("noisy neighbor", []),
        ("unusual", []),
    ],
)
def test_a_banned_word_is_found_as_a_whole(text: str, words: list[str]) -> None:
    assert banned(text) == words


@pytest.mark.parametrize("folder", PACKAGES)
def test_texts_of_programs(folder: str) -> None:
    """Sentences, layouts, messages, settings, and the HELP of metrics."""
    assert found_in(folder, ".py", python_texts) == []


def test_texts_of_scripts() -> None:
    assert found_in(WEB, ".js", script_texts) == []


@pytest.mark.parametrize("folder", CATALOGED)
def test_scripts_compose_no_sentences(folder: str) -> None:
    """Words around values are in the catalog (`render/words`), or the hub sends the finished text."""
    texts = [(path.name, text) for path in files(f"{WEB}/{folder}", ".js") for text in script_templates(path)]
    assert [text for text in texts if re.search(r"[A-Za-z]{2,} [a-z]{2,}", text[1])] == []


def test_sentences_and_empty_states_of_scripts_are_in_the_catalog() -> None:
    read = [path for path in files(WEB, ".js") if path.name != "words.js"]
    texts = [(path.name, text) for path in read for text in script_texts(path)]
    assert [text for text in texts if SENTENCE.search(text[1])] == []


def test_sentences_and_empty_states_of_pages_are_rendered_from_the_catalog() -> None:
    """Modules of pages, panels, and documents choose a text and its values; `render` has the words.

    Not read are messages of refused requests: of exceptions, and in `parameters.py`.
    """
    folders = ("pages", "panels", "state", "charts", "shell", "documents")
    read = [path for folder in folders for path in files(f"{WEB}/{folder}", ".py") if path.name != "parameters.py"]
    texts = [(path.name, text) for path in read for text in shown_texts(path)]
    assert [text for text in texts if SENTENCE.search(text[1])] == []


def code_lines(path: Path) -> Iterator[str]:
    """The lines of a file, with its names as words."""
    for line in path.read_text().splitlines():
        yield ALLOWED_CODE.sub("", re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", line))


@pytest.mark.parametrize(
    ("folder", "suffix"), [*((folder, ".py") for folder in (*PACKAGES, "tests")), (WEB, ".js"), ("tests", ".js")]
)
def test_code(folder: str, suffix: str) -> None:
    """Names, docstrings, and comments, which developers read."""
    assert found_in(folder, suffix, code_lines) == []


@pytest.mark.parametrize("path", sorted(commands(COMMAND)), ids=" ".join)
def test_help_of_the_hubs_commands(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    assert found([capsys.readouterr().out]) == []


def test_help_of_the_exporter(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    assert found([capsys.readouterr().out]) == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "golden").glob("*.prom")), ids=lambda path: path.name)
def test_help_of_exported_metrics(path: Path) -> None:
    assert found([line for line in path.read_text().splitlines() if line.startswith("# HELP")]) == []


@pytest.mark.parametrize("path", sorted((ROOT / "alerts").glob("*.rules.yml")), ids=lambda path: path.name)
def test_annotations_of_alerts(path: Path) -> None:
    groups = yaml.safe_load(path.read_text())["groups"]
    texts = [text for group in groups for rule in group["rules"] for text in rule.get("annotations", {}).values()]
    assert found(texts) == []


@pytest.mark.parametrize("path", sorted((ROOT / "grafana" / "dashboards").glob("*.json")), ids=lambda path: path.name)
def test_titles_and_descriptions_of_dashboards(path: Path) -> None:
    texts = re.findall(r'"(?:title|description|displayName|legendFormat|text)": "((?:[^"\\]|\\.)*)"', path.read_text())
    assert found(texts) == []


def prose(path: Path) -> list[str]:
    """The lines of a document without its code, which has names that may be words of others."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL | re.MULTILINE).splitlines()


@pytest.mark.parametrize("folder", ["docs", "alerts/runbooks"])
def test_documents(folder: str) -> None:
    assert found_in(folder, ".md", prose) == []


def test_the_readme() -> None:
    assert found(prose(ROOT / "README.md")) == []
