"""Looks as guests send them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vst.errors import UserError
from vst.painting.look import Look


class LookRequest(BaseModel):
    """The part of a `Look` that the page has controls for."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    style: str = Field("", max_length=200)
    strength: float = Field(1.0, ge=0, le=1)
    calm: float = Field(0.0, ge=0, le=1)
    preserve_color: float = Field(0.0, ge=0, le=1)

    def look(self) -> Look:
        return Look(**self.model_dump())


def read_look(text: str) -> Look:
    """A look from JSON. Raises UserError with one line."""
    try:
        return LookRequest.model_validate_json(text).look()
    except ValidationError as error:
        raise UserError(first_mistake(error.errors())) from error


def first_mistake(errors: list) -> str:
    """One line on the first of pydantic's errors."""
    where = ".".join(str(part) for part in errors[0]["loc"] if part != "body")
    return f"{where}: {errors[0]['msg']}" if where else str(errors[0]["msg"])
