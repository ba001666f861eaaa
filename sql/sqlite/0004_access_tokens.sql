-- Access tokens, which clients of the dialect "verb" need where a listener demands them.

CREATE TABLE access_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    token_sha256 BLOB    NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    created_at   INTEGER NOT NULL,
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1))
) STRICT;
