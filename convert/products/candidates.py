"""Every file that a build could choose, written out, so that a board can time them beforehand."""

from collections.abc import Iterable
from pathlib import Path

from convert.choice.recipes import FloatModel, Recipe, emit, static_recipes
from convert.products.bundling import move_into_place, staging_folder
from convert.progress import Progress
from convert.targets import Target
from edge_bundle.disk import replace_file
from edge_bundle.errors import ConfigError, ModelRefused


def write_candidates(
    models: Iterable[FloatModel], target: Target, out: Path, progress: Progress
) -> list[Path]:
    """Write a model file for each recipe; one that cannot be emitted is left out.

    Args:
        models: calibrated where static int8 is wanted.
        target: that recipes are for.
        out: a folder.
        progress: told how far it is.
    Returns: the files, each format's float first.
    Raises: ConfigError: the folder cannot be written.
    """
    recipes = [(model, recipe) for model in models for recipe in _list_recipes(model, target)]
    progress(f"writing the model files of {len(recipes)} recipes to {out}")
    with staging_folder(out) as folder:
        staged = []
        for number, (model, recipe) in enumerate(recipes):
            progress.advance(number + 1, len(recipes))
            try:
                data = emit(model, recipe)
            except ModelRefused:  # the choice will say it of this candidate
                continue
            file = folder / _name(recipe)
            try:
                replace_file(file, data, mode=0o644)
            except OSError as error:
                raise ConfigError(f"{file}: {error.strerror or error}") from None
            staged.append(file)
        return move_into_place(staged, out)


def _list_recipes(model: FloatModel, target: Target) -> list[Recipe]:
    form = model.format
    recipes = [Recipe(form, "float"), Recipe(form, "fp16"), Recipe(form, "dynamic")]
    if model.by_rows:
        recipes.append(Recipe(form, "dynamic", by_rows=True))
    return recipes + static_recipes(model, target)


def _name(recipe: Recipe) -> str:
    """Return such as ``tflite-int8-min-max-all-operators.tflite``."""
    parts = [recipe.variant, recipe.ranges, recipe.scope and recipe.scope.replace(" ", "-")]
    if recipe.by_rows:
        parts.append("by-rows")
    return "-".join(filter(None, parts)) + f".{recipe.format}"
