"""Language models on this machine: their answers, of our own making, have the shapes that those of servers have."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY, SECRET = "TEST_LLM_KEY", "sk-s3cret-0f-the-test"


@dataclass
class Asked:
    """A question as it came.

    Attributes:
        body: None where it was no JSON.
        target: the class that it is about, by the last `Query:` of its prompt.
    """

    path: str
    headers: dict[str, str]
    body: Any

    @property
    def text(self) -> str:
        return self.body["messages"][-1]["content"]

    @property
    def target(self) -> str:
        return self.text.rpartition("Query: ")[2].partition("\n")[0]

    @property
    def format(self) -> str:
        """Which format it asks for."""
        if "output_config" in self.body:
            return self.body["output_config"]["format"]["type"]
        return self.body.get("response_format", {"type": "text"})["type"]


@dataclass
class Said:
    """What is answered: JSON, or bytes as they are; `hold` is called before it is sent."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hold: Callable[[], object] = lambda: None


@dataclass
class Server:
    """A server under way: its address, and all that it was asked."""

    api: str
    asked: list[Asked]


@contextmanager
def serving(answer: Callable[[Asked], Said]) -> Iterator[Server]:
    """A server that answers so, on a port of its own, until the end of the block."""
    asked: list[Asked] = []
    failed: list[Exception] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            try:
                with lock:
                    asked.append(question)
                    said = answer(question)
                said.hold()
            except Exception as error:  # of a test: it is raised where the test is
                failed.append(error)
                said = Said(b"", 404)
            content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):  # who asked did not wait for it
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}/v1", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if failed:
            raise failed[0]


def openai(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-test-2026-01-01",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": refusal, "annotations": []},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": "fp_1",
    }


def vllm(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    whole = openai(text, finish, refusal)
    message = whole["choices"][0]["message"]
    message |= {"reasoning_content": "dog, cat, cow: no", "tool_calls": [], "function_call": None, "audio": None}
    whole["choices"][0] |= {"stop_reason": None, "token_ids": None}
    whole["usage"] = {"prompt_tokens": 100, "total_tokens": 120, "completion_tokens": 20, "prompt_tokens_details": None}
    return whole | {"prompt_logprobs": None, "kv_transfer_params": None, "service_tier": None}


def ollama(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": refusal or text or ""}
    return {
        "id": "chatcmpl-2",
        "object": "chat.completion",
        "created": 1,
        "model": "llama3.2",
        "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def llamacpp(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": refusal or text}
    return {
        "choices": [{"finish_reason": finish, "index": 0, "message": message}],
        "created": 1,
        "model": "gpt-3.5-turbo",
        "object": "chat.completion",
        "usage": {"completion_tokens": 20, "prompt_tokens": 100, "total_tokens": 120},
        "id": "chatcmpl-3",
        "timings": {"prompt_n": 100, "predicted_per_second": 19.0},
    }


def lmstudio(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": refusal or text or "", "reasoning_content": "", "tool_calls": []}
    return {
        "id": "chatcmpl-4",
        "object": "chat.completion",
        "created": 1,
        "model": "qwen",
        "choices": [{"index": 0, "logprobs": None, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        "stats": {},
        "system_fingerprint": "qwen",
    }


def anthropic(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    stop = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}[finish]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [
            {"type": "thinking", "thinking": "dog, cat, cow: no", "signature": "x"},
            *([{"type": "text", "text": refusal or text}] if refusal or text else []),
        ],
        "stop_reason": "refusal" if refusal else stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 60,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 10,
            "output_tokens": 20,
        },
    }


SHAPES: dict[str, Callable[..., dict[str, Any]]] = {
    "openai": openai,
    "vllm": vllm,
    "ollama": ollama,
    "llamacpp": llamacpp,
    "lmstudio": lmstudio,
    "anthropic": anthropic,
}
ERRORS: dict[str, Callable[[str], dict[str, Any]]] = {
    "openai": lambda said: {"error": {"message": said, "type": "invalid_request_error", "param": None, "code": None}},
    "vllm": lambda said: {"error": {"message": said, "type": "BadRequestError", "param": None, "code": 400}},
    "ollama": lambda said: {"error": {"message": said, "type": "api_error", "param": None, "code": None}},
    "llamacpp": lambda said: {"error": {"code": 400, "message": said, "type": "invalid_request_error"}},
    "lmstudio": lambda said: {"error": said},
    "anthropic": lambda said: {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": said},
        "request_id": "req_1",
    },
}


def listed(*names: str) -> str:
    """Names as a model lists them that keeps to the schema."""
    return json.dumps({"neighbors": names})
