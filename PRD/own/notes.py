"""Notes: endpoints with a table."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from database import get_db
from models import Note

router = APIRouter(prefix="/api/notes", tags=["notes"])


class NewNote(BaseModel):
    """What a client sends: longer text is answered with 422."""

    text: str = Field(min_length=1, max_length=200)


class NoteAnswer(NewNote):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)

    id: int


@router.post("", status_code=201)
def add_note(new: NewNote, db: Annotated[Session, Depends(get_db)]) -> NoteAnswer:
    """Keeps a note."""
    note = Note(text=new.text)
    db.add(note)
    db.commit()  # without it the client gets 201, and the row is gone
    return NoteAnswer.model_validate(note)


@router.get("")
def read_notes(db: Annotated[Session, Depends(get_db)]) -> list[NoteAnswer]:
    """All notes, the oldest first."""
    return [NoteAnswer.model_validate(note) for note in db.scalars(select(Note).order_by(Note.id))]
