-- Access tokens, which clients of the dialect "verb" need where a listener demands them.

-- A writer locks the whole table, so that the limit on tokens is kept by all together.
CREATE TABLE access_tokens (
    id           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_sha256 bytea   NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    created_at   bigint  NOT NULL,
    enabled      boolean NOT NULL
);
