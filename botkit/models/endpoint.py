"""A generator behind an OpenAI-compatible endpoint: OpenAI, Ollama, vLLM, llama.cpp and many others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from botkit.config import without_credentials
from botkit.errors import GeneratorError, MissingExtraError
from botkit.messages import Language, Turn
from botkit.models import Sampling
from botkit.models.runtime import first_line


def instruction(language: Language, persona: str) -> str:
    """What a chat model is told to be, where the configuration does not say."""
    if language == "zh":
        return f"你是一个聊天机器人，语气：{persona}。请用一两句简短的中文回答。"
    return f"You are a chat bot with a {persona} tone. Answer in one or two short sentences, in English."


class OpenAIGenerator:
    """A model behind an OpenAI-compatible endpoint (OpenAI, Ollama, vLLM …), by the official client library.

    Sends the conversation's window to that endpoint. `top_k` and `repetition_penalty` are not part of that protocol and
    are left out.
    """

    def __init__(
        self, model: str, *, base_url: str = "", api_key: str = "", system_prompt: str = "", timeout_s: float = 60.0
    ) -> None:
        """Raises `MissingExtraError` where the client library is not installed."""
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("A generator behind an endpoint", "openai") from error
        self.name = f"openai:{model}"
        self._openai = openai
        self._model = model
        address = base_url or "https://api.openai.com/v1"
        self._where = without_credentials(address)
        self._system_prompt = system_prompt
        self._client = openai.OpenAI(base_url=address, api_key=api_key or "none", timeout=timeout_s, max_retries=2)

    def stream(
        self,
        turns: Sequence[Turn],
        *,
        sampling: Sampling | None = None,
        language: Language = "en",
        persona: str = "friendly",
    ) -> Iterator[str]:
        """Yield the reply as the endpoint sends it. Raises `GeneratorError` that names the setting to look at."""
        sampling = sampling or Sampling()
        roles = {"user": "user", "bot": "assistant"}
        system = self._system_prompt or instruction(language, persona)
        messages: list[Any] = [{"role": "system", "content": system}]
        messages += [{"role": roles[turn.role], "content": turn.text} for turn in turns]
        options: dict[str, Any] = {"stop": list(sampling.stop)} if sampling.stop else {}
        if sampling.seed is not None:
            options["seed"] = sampling.seed
        with self._explained():
            chunks = self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                stream=True,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                **options,
            )
            with chunks:
                for chunk in chunks:
                    choices = getattr(chunk, "choices", None)  # some gateways send chunks without any of these
                    piece = getattr(getattr(choices[0], "delta", None), "content", None) if choices else None
                    if isinstance(piece, str) and piece:
                        yield piece

    def _explained(self) -> _EndpointErrors:
        return _EndpointErrors(self._openai, self._where, self._model)


class _EndpointErrors:
    """Turns the client library's errors into `GeneratorError`s that say what to do."""

    def __init__(self, openai: Any, where: str, model: str) -> None:
        self._openai, self._where, self._model = openai, where, model

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        openai, where = self._openai, self._where
        if isinstance(error, openai.APITimeoutError):
            raise GeneratorError(
                f"{where}: no answer in time. Raise models.generator.timeout_s, or check the endpoint."
            ) from error
        broke_off = type(error).__module__.startswith(("httpx", "httpcore"))  # a stream that ends early is not wrapped
        if isinstance(error, openai.APIConnectionError) or broke_off:
            raise GeneratorError(
                f"{where}: the endpoint cannot be reached, or broke off ({first_line(error)}). "
                "Check models.generator.base_url, and that the server runs."
            ) from error
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            raise GeneratorError(f"{where}: the key was refused. Check models.generator.api_key.") from error
        if isinstance(error, openai.NotFoundError):
            raise GeneratorError(
                f"{where}: no model {self._model!r} there, or no such path. Check models.generator.model and base_url."
            ) from error
        if isinstance(error, openai.RateLimitError):
            raise GeneratorError(f"{where}: too many requests, or no credit left. Try again later.") from error
        if isinstance(error, openai.APIError | ValueError):
            raise GeneratorError(f"{where}: the endpoint failed ({first_line(error)}).") from error
