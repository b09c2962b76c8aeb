"""Who names auxiliary classes: what may be set."""

import pytest

from lt_extrap.config.curate_proposer import LLMNeighbors
from lt_extrap.errors import ConfigError


@pytest.mark.parametrize(
    ("api", "key", "variable"),
    [
        ("https://api.openai.com/v1", None, "OPENAI_API_KEY"),
        ("https://api.anthropic.com/v1", None, "ANTHROPIC_API_KEY"),
        ("https://openrouter.ai/api/v1", None, None),  # no key of one company is shown to another
        ("https://api.openai.com.example.org/v1", None, None),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_API_KEY"),
        ("http://localhost:11434/v1", None, None),
        ("http://127.0.0.1:8000/v1", "VLLM_KEY", "VLLM_KEY"),
        ("http://node17.cluster:8000/v1", None, None),
        ("http://[::1]:8000/v1/", "VLLM_KEY", "VLLM_KEY"),
    ],
)
def test_a_key_is_of_the_server_it_is_for(api, key, variable):
    assert LLMNeighbors(api=api, key=key, model="m").key_variable == variable


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"api": "http://node17:8000/v1", "key": "VLLM_KEY"}, r"proposer\.api to be https"),
        ({"api": "http://localhost.example.org/v1", "key": "VLLM_KEY"}, r"proposer\.api to be https"),
        ({"api": "http://api.openai.com/v1"}, r"proposer\.api to be https"),
        ({"api": "https://me:sk-s3cret@example.org/v1"}, "without question mark or password"),
        ({"api": "https://example.org/v1?key=sk-s3cret"}, "without question mark or password"),
        ({"api": "https://example.org:99999/v1"}, "without question mark or password"),
        ({"api": "ftp://example.org"}, "an http"),
        ({"key": "sk-s3cret"}, "environment variable, in capitals"),
        ({"protocol": "responses"}, "chat, messages"),
        ({"rounds": 0}, r"proposer\.rounds"),
        ({"concurrency": 0}, r"proposer\.concurrency"),
        ({"surplus": 0.5}, r"proposer\.surplus"),
        ({"temperature": -1.0}, r"proposer\.temperature"),
        ({"max_tokens": 0}, r"proposer\.max_tokens"),
        ({"max_tokens_field": "limit"}, "max_completion_tokens"),
        ({"protocol": "messages", "seed": 1}, r"proposer\.seed"),
        ({"protocol": "messages", "max_tokens_field": "max_completion_tokens"}, r"proposer\.max_tokens_field"),
        ({"most_cost": 1.0}, r"proposer\.price_in"),
        ({"price_in": -1.0, "price_out": 1.0}, r"proposer\.price_in"),
        ({"most_tokens": 0}, r"proposer\.most_tokens"),
        ({"per_minute": 0.0}, r"proposer\.per_minute"),
        ({"seconds": 0.0}, r"proposer\.seconds"),
        ({"near_synonym": 0.0}, r"proposer\.near_synonym"),
        ({"avoid": -1}, r"proposer\.avoid"),
    ],
)
def test_what_cannot_be_is_refused_and_no_secret_shown(more, said):
    with pytest.raises(ConfigError, match=said) as told:
        LLMNeighbors(**{"model": "m", **more})
    assert "s3cret" not in str(told.value)
