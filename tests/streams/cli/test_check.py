"""`weir check` reports mistakes with file and line before anything is applied."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schemas.definitions.kinds import Definitions
from schemas.definitions.prompts import Alias, Prompt
from streams.cli.develop.prompts import found
from streams.cli.main import application
from streams.definitions.folder import DefinitionsError
from streams.engine.errors import UserError

COMPANY = Path(__file__).parents[3] / "infra/company"


@pytest.fixture
def company(tmp_path):
    return shutil.copytree(COMPANY, tmp_path / "company")


def checked(folder):
    return CliRunner().invoke(application("check"), ["check", str(folder), "--json"])


@pytest.mark.parametrize("folder", ["", "agents", "prompts"])
def test_a_company_that_is_right(company, folder):
    assert '"prompt_tests": 2' in checked(company / folder).stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "prompts/support.yaml",
            "{{ shop }}",
            "{{ shpo }}",
            r"support.yaml, line \d+: the template names 'shpo'",
        ),
        (
            "prompts/support.yaml",
            "contains: [Nordwind]",
            "contains: [Sudwind]",
            r"line 14: .*says whom it serves fails: .*'Sudwind'",
        ),
        (
            "agents/support.yaml",
            "use: support",
            "use: helpdesk",
            r"support.yaml, line 2: there is no prompt 'helpdesk'",
        ),
        ("prompts/support.yaml", "{% endif %}", "", "is no template"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(company, file, old, new, says):
    path = company / file
    path.write_text(path.read_text().replace(old, new))
    result = checked(company)
    assert isinstance(result.exception, DefinitionsError)
    with pytest.raises(DefinitionsError, match=says):
        raise result.exception


@pytest.mark.parametrize(
    ("place", "task"), [("p", "two"), ("p@1", "one"), ("p@prod", "two"), ("p@old", "one")]
)
def test_a_prompt_is_found_by_version_or_alias(place, task):
    given = Definitions(
        {
            ("prompt", "p", 1): Prompt(name="p", task="one"),
            ("prompt", "p", 2): Prompt(name="p", task="two"),
            ("alias", "p", 1): Alias(name="p", versions={"old": 1, "prod": 2}),
        },
        {("prompt", "p"): 2, ("alias", "p"): 1},
    )
    assert found(given, place).task == task
    with pytest.raises(UserError, match="weir prompts list"):
        found(given, "p@nowhere")
