# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import (
    LINE_LIMIT,
    MASK,
    mask_known,
    redact,
    redact_in,
)

# The secret in the texts below. Only the name before it or its position identifies it as a secret.
S = "s3cret-vAlue"
BASIC = base64.b64encode(b"user:" + S.encode()).decode()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJlLW9mLW5vYm9keQ"
BODY = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ%02d" % line for line in range(20))
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"


def credential(prefix, length=36):
    """Return a credential in the format of its issuer. It is assembled here so that no secret scanner reports it."""
    return prefix + "aB3dE5gH7jK9mN1pQ2sT4vW6yZ8cX0fR5uI7oP9lM3n"[:length]


# {kind: (text, part that must be masked)}
KINDS = {
    "environment": (f"VLLM_API_KEY={S}", S),
    "environment in JSON": (f'"VLLM_API_KEY={S}",', S),
    "environment with spaces in JSON": (f'"HF_TOKEN=first {S} last",', S),
    "environment with a comma": (f"DB_PASSWORD=a,{S}", S),
    "export": (f"export MODELSCOPE_API_TOKEN='{S}'", S),
    "Python dictionary": (f"args: {{'api_key': '{S}', 'port': 8888}}", S),
    "Python list": (f"api_key=['first', '{S}'], port=8888", S),
    "Python bytes": (f"password=b'{S}'", S),
    "keyword argument": (f"login(token='{S}', timeout=3)", S),
    "subscript": (f'os.environ["HF_TOKEN"] = "{S}"', S),
    "comparison": (f"if token == '{S}':", S),
    "JSON": (f'{{"hf_token": "{S}", "a": 1}}', S),
    "JSON without spaces": (f'{{"a":1,"accessToken":"{S}","b":2}}', S),
    "JSON within JSON": (rf'{{"log": "{{\"client_secret\": \"{S}\"}}"}}', S),
    "JSON with a quotation mark": (f'{{"password": "a\\"{S}"}}', S),
    "list in JSON": (f'{{"api_keys": null, "api_key": ["{S}"]}}', S),
    "YAML": (f"api_key: {S}", S),
    "YAML in quotation marks": (f"password: '{S} x'", S),
    "YAML block": (f"client_secret: |\n  first\n  {S}\nport: 1", S),
    "value over several lines": (f'password="first line\n{S}"', S),
    "properties": (f"spring.datasource.password = {S}", S),
    "XML": (f"<user>a</user><password>{S}</password>", S),
    "Ruby": (f":secret_key => '{S}'", S),
    "option": (f"vllm serve /data/m --api-key {S} --port 8888", S),
    "option with an equals sign": (f"vllm serve /data/m --api-key={S}", S),
    "option in JSON": (f'["--api-key", "{S}"]', S),
    "option in indented JSON": (f'[\n  "--hf-token",\n  "{S}"\n]', S),
    "option --secret": (f"client --secret {S}", S),
    "option --password": (f"client --password '{S} x'", S),
    "option --token in lower case": (f"kubectl --token={S} get pods", S),
    "option --pass": (f"openssl --pass {S}", S),
    "docker login -p": (f"docker login -u someone -p {S} registry.example", S),
    "docker login -p in JSON": (f'["docker", "login", "-p", "{S}"]', S),
    "sshpass -p": (f"sshpass -p{S} ssh node1", S),
    "mysql -p": (f"mysql -u root -p{S} db", S),
    "curl -u": (f"curl -s -u someone:{S} https://hub.example", S),
    "skopeo --creds": (f"skopeo copy --creds someone:{S} docker://a docker://b", S),
    "redis-cli -a": (f"redis-cli -a {S} ping", S),
    "htpasswd -b": (f"htpasswd -b /etc/passwords someone {S}", S),
    "PGPASSWORD": (f"PGPASSWORD={S} psql", S),
    "PWD": (f"MYSQL_PWD={S}", S),
    "Pwd in a connection string": (f"Server=db;Uid=sa;Pwd={S};", S),
    "AUTH": (f"REDISCLI_AUTH={S}", S),
    "PASS": (f"SMTP_PASS={S}", S),
    "PAT": (f"GITHUB_PAT={S}", S),
    "passphrase": (f"passphrase: {S}", S),
    "number": ("password: 74839201", "74839201"),
    "credentials": (f"credentials={S}", S),
    "secret id": (f"secret_id: {S}", S),
    "account key": (f"AccountName=a;AccountKey={S}==;", S),
    "session": (f"JSESSIONID={S}", S),
    "Docker auth": (f'{{"auths": {{"reg.example": {{"auth": "{BASIC}"}}}}}}', BASIC),
    ".npmrc _authToken": (f"//registry.npmjs.org/:_authToken={S}", S),
    ".npmrc _auth": (f"_auth={BASIC}", BASIC),
    ".pypirc": (f"[pypi]\nusername = __token__\npassword = {S}", S),
    ".netrc": (f"machine hub.example login someone password {S}", S),
    ".netrc on several lines": (f"machine hub.example\n  login someone\n  password {S}\n", S),
    "SQL": (f"CREATE USER a IDENTIFIED BY '{S}'", S),
    "Authorization: Bearer": (f"Authorization: Bearer {S}", S),
    "Authorization: Basic": (f"authorization: Basic {BASIC}", BASIC),
    "Authorization: Token": (f'-H "Authorization: Token {S}" https://x', S),
    "Authorization without a scheme": (f"Authorization: {S}", S),
    "Authorization: AWS4": (f"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=c, Signature={S}", S),
    "Authorization in a dictionary": (f"{{'Authorization': 'Bearer {S}', 'Accept': '*/*'}}", S),
    "Proxy-Authorization": (f"Proxy-Authorization: Basic {BASIC}", BASIC),
    "Bearer alone": (f"sent bearer {S} to the server", S),
    "Basic alone": (f"sent Basic {BASIC}", BASIC),
    "X-Api-Key": (f"x-api-key: {S}", S),
    "Cookie": (f"Cookie: a=b; sid={S}", S),
    "Set-Cookie": (f"Set-Cookie: sid={S}; HttpOnly", S),
    "user and password in a URL": (f"http://someone:{S}@proxy.example:3128/", S),
    "password with an at sign in a URL": (f"http://someone:p@{S}@proxy.example/", S),
    "token as the user in a URL": (f"https://{credential('abc')}@git.example/x", credential("abc")),
    "token in a URL": (f"GET /v1/models?a=b&token={S}&c=d", S),
    "access_token in a URL": (f"https://x/?access_token={S}#d", S),
    "key in a URL": (f"https://x/?key={S}", S),
    "sig in a URL": (f"https://x/?se=2026&sig={S}&sp=r", S),
    "X-Amz-Signature": (f"https://x/y?X-Amz-Date=1&X-Amz-Signature={S}", S),
    "X-Amz-Credential": (f"https://x/y?X-Amz-Credential={S}%2F2026", S),
    "X-Amz-Security-Token": (f"https://x/y?X-Amz-Security-Token={S}", S),
    "OSS signature": (f"https://x/y?OSSAccessKeyId=a&Signature={S}", S),
    "JWT": (f"the server refused {JWT} at once", JWT.split(".")[2]),
    "PEM": (PEM, BODY.splitlines()[9]),
    "PEM with a prefix": ("\n".join("(pid=1) " + line for line in PEM.splitlines()), BODY.splitlines()[9]),
    "PEM in JSON": (json.dumps({"key": PEM}), BODY.splitlines()[9]),
    "PEM without its end": (PEM.rpartition("\n")[0] + "\nand so on", BODY.splitlines()[9]),
    "rest of a PEM": (PEM[200:], BODY.splitlines()[9]),
    "PGP": (PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), BODY.splitlines()[9]),
    "Slack webhook": ("https://hooks.slack.com/services/T000/B000/abcdefgh", "abcdefgh"),
    **{prefix: (f"GET said {credential(prefix)}.", credential(prefix)) for prefix in (
        "hf_", "ghp_", "gho_", "github_pat_", "glpat-", "sk-", "sk-proj-", "nvapi-", "gsk_", "r8_", "npm_", "pypi-",
        "dckr_pat_", "hvs.", "xoxb-", "AIza", "ya29.", "sk_live_", "LTAI")},
    "AKIA": ("key AKIAIOSFODNN7ABCDEFG", "AKIAIOSFODNN7ABCDEFG"),
    "ModelScope token": ("said ms-0a1b2c3d-4e5f-6789-abcd-ef0123456789", "0a1b2c3d-4e5f"),
}

# Texts without a secret that resemble those above.
OTHERS = [
    "max_num_batched_tokens=50000", "'max_num_batched_tokens': 50000, 'port': 8888", "max_tokens: 16", "max-tokens=abc",
    "Avg prompt throughput: 12.3 tokens/s", "Mean time per output token (ms): 12.3", "tokenizer='/data/model'",
    "tokenizer=/data/model", '"tokenizer_id": "/data/model"', "--tokenizer /data/model --tokenizer-mode auto",
    "TOKENIZERS_PARALLELISM=false", "eos_token=<|im_end|>", "pad_token: <|endoftext|>", "stop_token_ids=[1, 2]",
    "eos_token_id: 151645", "image_token='<image>'", '"token": 17', "skip_special_tokens=True", "token_budget: abc",
    "prompt_token_ids: [1, 2]", "api_key=None", "'api_key': None,", '"token": null,', "api_key=", "token: ${HF_TOKEN}",
    "api_key: {{ vault_key }}", "api_key=********", "api_key=SecretStr('**********')",
    "password: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER",
    "--api-key-file /run/key", "--api-key-file=/run/key", "API_KEY_PATH=/run/key", "secret_name: vllm",
    "token_type: bearer",
    "--allow-credentials --port 1", "GOOGLE_APPLICATION_CREDENTIALS=/run/gcp.json", "ssl-keyfile=/run/key.pem",
    "PWD=/root", "OLDPWD=/data/x", '"PWD=/vllm-workspace",', "docker run -p 8080:80 image", "ssh -p 2222 node1",
    "mkdir -p /data/token", "docker login registry.example", "curl -u 1000:1000 x", "docker run -u 1000:1000 image",
    "key: value", "key=value", "sorted(key=name)", "--key /run/key.pem", "KEY_LENGTH=256", "monkey=banana", "keys: 3",
    "auth: failed", "auth=none", "auth: {", "author: someone", "authority=here", "Authentication: required",
    "Bearer token required", "WWW-Authenticate: Bearer realm=x", "Basic authentication failed", "basic usage",
    "vllm serve /data/m --port 8888", "http://10.0.0.1:8888/v1", "http://user@host/", "ssh://git@host:22/x",
    "redis://cache:6379/0", "time 12:30://", "sk-image-contrib-something", "risk-1234567890123456789",
    "hf_hub_download",
    "hf_overrides={}", "signature: (self, x)", "sig=3", "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----",
    "pass=3 fail=0", "passed: 12", "first_pass=12", "forward_pass: slow", "compass=north", "cookies: 3",
    "cookie_name=a", "bass=x",
    "---------------Inter-token Latency----------------", "password is wrong", "no password", "DEBUG token",
    "the token was refused", "def login(token: str, x: int)",
    "HCCL_SOCKET_IFNAME=eth0", "sha256:" + "0a" * 32, "ascend.vllm.instance-hash=abc123",
]


@pytest.mark.parametrize("kind", KINDS)
def test_secret_is_masked(kind):
    text, secret = KINDS[kind]
    redacted = redact(text)
    assert secret not in redacted
    assert MASK in redacted
    assert redact(redacted) == redacted


def test_at_least_60_kinds_are_tested():
    assert len(KINDS) >= 60


@pytest.mark.parametrize("text", OTHERS)
def test_text_without_a_secret_is_not_changed(text):
    assert redact(text) == text


@pytest.mark.parametrize(("text", "redacted"), [
    (f"--api-key {S} --port 8888", f"--api-key {MASK} --port 8888"),
    (f"{{'api_key': '{S}', 'port': 8888}}", f"{{'api_key': '{MASK}', 'port': 8888}}"),
    (f"?a=b&token={S}&c=d", f"?a=b&token={MASK}&c=d"),
    (f"Server=db;Pwd={S};Uid=sa", f"Server=db;Pwd={MASK};Uid=sa"),
    (rf'{{"log": "[\"HF_TOKEN=first {S}\", \"A=b\"]"}}', rf'{{"log": "[\"HF_TOKEN={MASK}\", \"A=b\"]"}}'),
    (f"token={S}, port=1", f"token={MASK}, port=1"),
    (f"before\n{PEM}\nafter", f"before\n{MASK}\nafter"),
    (f"{PEM[200:]}\nafter", f"{MASK}\nafter"),
    ("a line, -----END PRIVATE KEY----- was expected", "a line, -----END PRIVATE KEY----- was expected"),
    (f"http://someone:{S}@proxy/x", f"http://{MASK}@proxy/x"),
])
def test_text_around_a_secret_is_not_changed(text, redacted):
    assert redact(text) == redacted


def test_redacted_json_is_valid():
    text = json.dumps({"Env": ["HF_TOKEN=s3cret", "A=b"], "Labels": {"ascend.vllm.secrets": "1.5", "b": "c"},
                       "Cmd": ["--api-key", "s3cret"], "keys": {"api_key": ["a", "b"], "auth": {"x": 1}}}, indent=2)
    assert json.loads(redact(text)) == {
        "Env": [f"HF_TOKEN={MASK}", "A=b"], "Labels": {"ascend.vllm.secrets": MASK, "b": "c"},
        "Cmd": ["--api-key", MASK], "keys": {"api_key": [MASK], "auth": {"x": 1}}}


@pytest.mark.parametrize("text", ["the engine said hunter 22/ aloud", "GET /?x=hunter%2022%2F", '{"x": "hunter 22/"}'])
def test_known_values_are_masked_wherever_they_occur(text):
    redacted = redact(text, ["hunter 22/\n", ""])
    assert MASK in redacted
    assert "22" not in redacted


def test_secrets_are_masked_in_data():
    data = {"hunter22": ["a hunter22", 1, None, {"b": "hunter22", "c": "HF_TOKEN=s3cret"}],
            "c": ("x", credential("hf_"))}
    assert redact_in(data, ["hunter22"]) == {
        MASK: ["a " + MASK, 1, None, {"b": MASK, "c": "HF_TOKEN=" + MASK}], "c": ["x", MASK]}


def test_long_lines_are_truncated_except_in_a_document():
    text = "a" * LINE_LIMIT + "b" * 10 + "\nc"
    assert redact(text) == "a" * LINE_LIMIT + "… (10 characters were left out)\nc"
    assert redact(text, line_limit=False) == text


# Each text is repeated up to 100,000 characters, and the slowest ones also up to a million.
HOSTILE = [
    "a", "a.", "key", "key.", "key=", "token ", "token=\"", "token='", "api_key='\\\"", "api_key=[", "api_key=['a",
    "token: |\n a\n", '"--token", ', '"token=', "PWD=/a ", "password=,", "}a", ",a", "\\", '"', "\\\\\\\"key", "\n",
    "://a:", "://1", "bearer ", "basic aaaaaa ", "Authorization: Basic ", 'cookie: a"', "machine a login ",
    "eyJaaaaaa.",
    "h ", "sk-", "sk-aaaaaaaaaaaaaaaaa ", "identified by 'a ", "login -p ", "login -p x\n", "curl -u ", "redis-cli -a ",
    "htpasswd -b a b c ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n", "-", "[ ", "<key>", "&key=",
]


LONGEST = ["PWD=/a ", "token: |\n a\n", 'cookie: a"', "-----BEGIN PRIVATE KEY-----\n", "token"]


@pytest.mark.parametrize(("text", "characters"), [*((text, 100_000) for text in HOSTILE),
                                                  *((text, 1_000_000) for text in LONGEST)])
def test_redaction_time_is_linear(text, characters):
    """A million characters take half a second; the limit allows for a busy machine."""
    repeated = text * (characters // len(text))
    started = time.process_time()
    redact("password=" + repeated, ["hunter22"], line_limit=False)
    assert time.process_time() - started < characters / 500_000


@settings(max_examples=200)
@given(st.text(alphabet="tokenpwd=:\"'\\ \n,;&{}[]<>|-./@%$0aZ_", max_size=200))
def test_redacting_twice_changes_nothing(text):
    redacted = redact(text)
    assert redact(redacted) == redacted


def test_logs_without_secrets_are_not_changed(corpus):
    """The logs and listings of the corpus are published and contain no secrets."""
    changed = {}
    for path in sorted(corpus.rglob("*")):
        if path.is_file() and path.suffix not in (".md", ".tsv"):
            text = path.read_text("utf-8", errors="replace")
            lines = [(before, after) for before, after in zip(text.splitlines(), redact(text).splitlines())
                     if before != after]
            if lines:
                changed[str(path.relative_to(corpus))] = lines
    assert changed == {}


@pytest.mark.parametrize(("text", "masked"), [
    ("Invalid header value b'Bearer k3y\\n'", "Invalid header value b'Bearer (redacted)'"),
    ("sent k3y and 'k3y\\n'", "sent (redacted) and '(redacted)'"), ("nothing", "nothing")])
def test_secrets_are_masked_in_quotations_by_exceptions(text, masked):
    assert mask_known(text, ["k3y\n", "", None], 1) == masked
