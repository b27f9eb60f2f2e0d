"""Documents → ids, and which of them a model learns. S sequences, N tokens, V vocabulary.

A text is learned whole. A conversation is written by a chat template, and the assistant's
turns are learned. A pair is a prompt, which is not learned, and an answer, which is; each is
encoded by itself, as at its use the prompt stands alone. A preference is two sequences, its
prompt with the chosen answer and with the rejected one. A token of which only a part is
learned text is not learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.documents import Document
from llmctl.core.errors import DataError, RecipeError
from llmctl.core.tokens.chat_template import ChatTemplate, Message
from llmctl.core.tokens.field_template import (
    CHOSEN,
    PairTemplate,
    is_preference,
    preference_sides,
)
from llmctl.core.tokens.learned_spans import ConversationCutter, Piece
from llmctl.core.tokens.special_literals import SpecialLiterals
from llmctl.core.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:  # which costs a worker pydantic
    from llmctl.core.artifacts.shards import Content

Mask = NDArray[np.uint8]
_CONVERSATION_ANSWERS = ("completion", CHOSEN)


@dataclass(frozen=True, slots=True)
class DocumentRules:
    """What of the recipe's section decides how documents are written.

    Attributes:
        prompt_template: Of pairs; None: the usual form.
        answer_template: Likewise.
        allow_special_tokens: Those that are meant where they stand in a text.
    """

    prompt_template: str | None = None
    answer_template: str | None = None
    allow_special_tokens: tuple[str, ...] = ()


class TextEncoder(Protocol):
    """Encodes texts; special tokens in them stay text."""

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the ids of all texts, one after the other, and how many each has."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded documents, none with the token that ends it: whoever writes shards appends it.

    Attributes:
        content: What they are; pairs of a prompt and an answer are conversations.
        ids: Shape (N,).
        lengths: Tokens of each sequence, shape (S,): one for each document, of preferences
            two, the chosen first.
        mask: Of each token, 1 where it is learned and 0 elsewhere, shape (N,). None of texts,
            which are learned whole.
        end_mask: The same of the end token to be appended to each sequence, shape (S,).
        literals: How often each special token stands in what the documents say.
        num_unlearned: Sequences of which nothing is learned.
    """

    content: Content
    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    mask: Mask | None
    end_mask: Mask | None
    literals: Counter[str]
    num_unlearned: int


@dataclass(slots=True)
class _Sequence:
    """One sequence in the making: its pieces, or a conversation that is to be cut."""

    document: Document
    pieces: tuple[Piece, ...] = ()
    messages: list[Message] = field(default_factory=list[Message])
    given_turns: int = 0
    is_end_learned: bool = True


class DocumentEncoder:
    """Encodes documents of every kind; a context manager, which owns a template's process.

    The process starts with the first conversation.

    Args:
        rules: Templates of pairs, and the special tokens that are meant in texts.
        tokenizer: Of the ids.
        encoder: Encodes texts as the tokenizer does.
        template: Writes conversations.
        end_id: The token that ends documents.

    Raises:
        RecipeError: A template of pairs is faulty, or a special token that is to be allowed
            is none of the vocabulary.
    """

    def __init__(
        self,
        rules: DocumentRules,
        tokenizer: Tokenizer,
        encoder: TextEncoder,
        template: ChatTemplate,
        *,
        end_id: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._end_id = end_id
        self._literals = SpecialLiterals(tokenizer)
        self._allowed = rules.allow_special_tokens
        unknown = [name for name in self._allowed if name not in self._literals.ids]
        if unknown:
            raise RecipeError(
                f"tokenize.allow_special_tokens: {', '.join(unknown)}: no special token of the "
                f"vocabulary, which has {', '.join(self._literals.ids) or 'none'}"
            )
        self._pair_template = None
        if rules.prompt_template is not None and rules.answer_template is not None:
            self._pair_template = PairTemplate.parse(rules.prompt_template, rules.answer_template)
        self._cutter = ConversationCutter(template, self._literals)
        self._is_template_checked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cutter.__exit__(kind, error, traceback)

    def encode(self, documents: Sequence[Document]) -> Encoded:
        """Return the ids of documents, and which are learned unless all are texts.

        Raises:
            RecipeError: The vocabulary lacks a special token of the chat template, or it
                cannot encode conversations; pairs have other fields than the templates, or
                unusual ones, and there is no template.
            DataError: A document cannot be written by its template or encoded, or only some
                are preferences.
            LlmctlError: The template's process does not start.
        """
        literals = self._literals.count(document.plain_text for document in documents)
        content = _content(documents)
        if content == "text" and not self._allowed:
            ids, lengths = self._encoder.encode([document.text for document in documents])
            return Encoded(content, ids, lengths, None, None, literals, 0)
        sequences = self._sequences(documents)
        self._cut_conversations([each for each in sequences if each.messages])
        ids, lengths, mask = self._assembled([each.pieces for each in sequences])
        if content == "text":
            return Encoded(content, ids, lengths, None, None, literals, 0)
        end_mask = np.array([each.is_end_learned for each in sequences], dtype=np.uint8)
        learned_before = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
        stops = np.cumsum(lengths)
        num_learned = learned_before[stops] - learned_before[stops - lengths] + end_mask
        num_unlearned = int((num_learned == 0).sum())
        return Encoded(content, ids, lengths, mask, end_mask, literals, num_unlearned)

    def _sequences(self, documents: Sequence[Document]) -> list[_Sequence]:
        pairs = [_fields(document.pair) for document in documents if document.pair is not None]
        if pairs and self._pair_template is not None:
            known = {name for pair in pairs for name in pair}
            self._pair_template.require_fields(known)
        sequences: list[_Sequence] = []
        for document in documents:
            if document.messages is not None:
                sequences.append(_Sequence(document, messages=list(document.messages)))
            elif document.pair is not None:
                sequences += self._pair_sequences(document, _fields(document.pair))
            else:
                sequences.append(_Sequence(document, self._text_pieces(document.text)))
        return sequences

    def _text_pieces(self, text: str) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        position = 0
        for start, stop, token in self._literals.occurrences(text, self._allowed):
            pieces.append(_learned(text[position:start]))
            pieces.append(Piece(((text[start:stop], True),), token))
            position = stop
        return (*pieces, _learned(text[position:]))

    def _pair_sequences(self, document: Document, pair: dict[str, Any]) -> list[_Sequence]:
        sides = preference_sides(pair) if is_preference(pair) else [pair]
        for name in _CONVERSATION_ANSWERS:
            if all(_is_messages(side.get(name)) for side in sides):
                whole = [_whole_conversation(side.get("prompt"), side[name]) for side in sides]
                given = _given_turns(whole, num_said=len(sides[0][name]))
                return [_Sequence(document, messages=each, given_turns=given) for each in whole]
        return [_Sequence(document, self._pair_pieces(document, side)) for side in sides]

    def _pair_pieces(self, document: Document, pair: dict[str, Any]) -> tuple[Piece, ...]:
        template = self._pair_template or PairTemplate.usual(pair)
        if template is None:
            raise RecipeError(
                f"{_named(document)} is a pair of {' and '.join(pair)}, which has no usual form; "
                "say how it is to be written with tokenize.prompt_template and "
                "tokenize.answer_template, fields in braces"
            )
        try:
            prompt, answer = template.prompt.fill(pair), template.answer.fill(pair)
        except DataError as error:
            raise DataError(f"{_named(document)}: {error}") from error
        return (Piece(((prompt, False),)), _learned(answer))

    def _cut_conversations(self, sequences: Sequence[_Sequence]) -> None:
        if not sequences:
            return
        self._check_template()
        cut = self._cutter.cut(
            [each.messages for each in sequences], [each.given_turns for each in sequences]
        )
        for sequence, pieces in zip(sequences, cut, strict=True):
            if isinstance(pieces, DataError):
                raise DataError(f"{_named(sequence.document)}: {pieces}") from pieces
            sequence.pieces, sequence.is_end_learned = self._without_end(pieces)

    def _without_end(self, pieces: tuple[Piece, ...]) -> tuple[tuple[Piece, ...], bool]:
        """Take away the end token where the template wrote it; tell whether it is learned.

        It is, too, where a turn of the assistant ends the conversation without a token of its
        own: the model would not learn to end otherwise.
        """
        shown = list(pieces)
        if len(shown) > 1 and shown[-1].token is None and not shown[-1].text.strip():
            shown.pop()  # a line end after the end token
        if shown and shown[-1].token == self._end_id:
            return tuple(shown[:-1]), shown[-1].parts[0][1]
        return pieces, bool(pieces) and pieces[-1].token is None and pieces[-1].parts[-1][1]

    def _check_template(self) -> None:
        if self._is_template_checked:
            return
        self._cutter.require_special_tokens()
        pieces = self._cutter.probe()
        text = "".join(piece.text for piece in pieces)
        if self._assembled([pieces])[0].tolist() != self._tokenizer.encode_rendered(text):
            raise RecipeError(
                "this tokenizer encodes a text otherwise where it follows a special token, so "
                "that it cannot encode conversations; take a byte-level one for tokenize.from"
            )
        self._is_template_checked = True

    def _assembled(
        self, sequences: Sequence[Sequence[Piece]]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], Mask]:
        pieces = [piece for sequence in sequences for piece in sequence]
        is_text = np.array([piece.token is None for piece in pieces], dtype=bool)
        text_ids, text_lengths = self._encoder.encode(
            [piece.text for piece in pieces if piece.token is None]
        )
        piece_lengths = np.ones(len(pieces), dtype=np.int64)
        piece_lengths[is_text] = text_lengths
        stops = np.cumsum(piece_lengths)
        ids = np.empty(int(piece_lengths.sum()), dtype=np.uint32)
        token_is_text = np.repeat(is_text, piece_lengths)
        ids[token_is_text] = text_ids
        ids[~token_is_text] = [piece.token for piece in pieces if piece.token is not None]
        learned = [len(piece.parts) == 1 and piece.parts[0][1] for piece in pieces]
        mask = np.repeat(np.array(learned, dtype=np.uint8), piece_lengths)
        for piece, length, stop in zip(pieces, piece_lengths, stops, strict=True):
            if len(piece.parts) > 1:
                part = slice(stop - length, stop)
                mask[part] = self._part_mask(ids[part], piece)
        borders = np.cumsum([0, *map(len, sequences)])
        return ids, np.diff(np.concatenate([[0], stops])[borders]), mask

    def _part_mask(self, ids: NDArray[np.uint32], piece: Piece) -> Mask:
        lengths = self._tokenizer.byte_lengths()[ids]
        stops = np.cumsum(lengths)
        borders = np.cumsum([len(text.encode("utf-8")) for text, _ in piece.parts])
        if borders[-1] != stops[-1]:  # what the tokenizer normalises may become shorter
            borders = self._normalised_borders(piece)
        mask = np.zeros(len(ids), dtype=np.uint8)
        start = 0
        for stop, (_, learned) in zip(borders, piece.parts, strict=True):
            if learned:
                mask[(stops - lengths >= start) & (stops <= stop)] = 1
            start = stop
        return mask

    def _normalised_borders(self, piece: Piece) -> NDArray[np.int64]:
        borders: list[int] = []
        text = ""
        for part, _ in piece.parts:
            text += part
            ids, _ = self._encoder.encode([text])
            borders.append(int(self._tokenizer.byte_lengths()[ids].sum()))
        return np.array(borders, dtype=np.int64)


def _content(documents: Sequence[Document]) -> Content:
    preferences = [
        document
        for document in documents
        if document.pair is not None and is_preference(document.pair)
    ]
    if preferences and len(preferences) < len(documents):
        raise DataError(
            f"{_named(preferences[0])} has a chosen and a rejected answer, and others have not; "
            "tokenize preferences by themselves"
        )
    if preferences:
        return "preference"
    has_others = any(each.messages is not None or each.pair is not None for each in documents)
    return "conversation" if has_others else "text"


def _learned(text: str) -> Piece:
    return Piece(((text, True),))


def _named(document: Document) -> str:
    return f"the document {document.id} of {document.source}"


def _fields(pair: dict[str, Any]) -> dict[str, Any]:
    """The fields of a pair, those of a translation its languages."""
    translation = pair.get("translation")
    if len(pair) == 1 and isinstance(translation, dict):
        return cast("dict[str, Any]", translation)
    return pair


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _whole_conversation(prompt: Any, answer: list[Message]) -> list[Message]:
    """What a prompt and an answer in messages say together; the answer may hold the prompt."""
    if _is_messages(prompt):
        return [*prompt, *answer]
    is_answer_alone = isinstance(prompt, str) and answer[0].get("role") == "assistant"
    return [{"role": "user", "content": prompt}, *answer] if is_answer_alone else answer


def _given_turns(whole: Sequence[Sequence[Mapping[str, Any]]], num_said: int) -> int:
    """How many turns of the assistant belong to the prompt: all that both sides share."""
    shared = len(whole[0]) - num_said
    if len(whole) > 1:
        same = (first == second for first, second in zip(*whole, strict=False))
        shared = next(
            (number for number, each in enumerate(same) if not each), min(map(len, whole)) - 1
        )
    return sum(message.get("role") == "assistant" for message in whole[0][:shared])
