"""What several commands take: a study, folders, seeds. One home for each, so that every command reads it alike."""

from typing import Annotated

from bench.asked import folder, study_name
from bench.command import typer
from bench.plan.machine import DEVICES

StudyName = Annotated[
    str, typer.Argument(callback=study_name, help="A built-in study, or the path of your own .toml file.")
]
Seeds = Annotated[str, typer.Option(help="Instead of the study's: a list as 0,1,2, or a count as 3.")]
Depths = Annotated[str, typer.Option(help="Only these of the study's, as 18,34.")]
Device = Annotated[str, typer.Option(help=f"{', '.join(DEVICES[:-1])} or {DEVICES[-1]}.")]
Purpose = Annotated[str, typer.Option(help="Only what is judged (train), what measures cost (cost), or the search.")]
Records = Annotated[str, typer.Option(callback=folder("--records"), help="Folder of the records.")]
DataRoot = Annotated[str, typer.Option(callback=folder("--data-root"), help="Where data sets lie.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch a data set that is missing.")]
Out = Annotated[str, typer.Option(callback=folder("--out"), help="Folder of the tables and of the verdicts as data.")]
