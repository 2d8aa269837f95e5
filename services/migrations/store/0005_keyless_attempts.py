"""Each attempt of a keyless command is remembered by its command id: read again, it gets its answer again."""

from alembic import op

revision = "store_0005"
down_revision = "store_0004"
branch_labels = None
depends_on = None


COMMIT_BATCH = """
    CREATE FUNCTION commit_batch(
        shards int[], epochs bigint[], positions bigint[], sequences bigint[], heads bytea[],
        new_positions bigint[], new_command_ids text[], new_sequences bigint[], new_heads bytea[],
        new_times bigint[], published_sequences bigint[], published_offsets bigint[],
        event_streams uuid[], event_versions bigint[], event_types text[], event_values bytea[],
        event_shards int[], event_sequences bigint[],
        receipt_streams uuid[], receipt_origins text[], receipt_keys bytea[], receipt_requests text[],
        receipt_shards int[], receipt_sequences bigint[], receipt_commands text[], receipt_positions bigint[],
        attempt_shards int[], attempt_sequences bigint[], attempt_streams uuid[], attempt_requests text[],
        attempt_counts int[], attempt_times bigint[], attempt_commands text[]
    ) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        moved int;
    BEGIN
        WITH wanted AS (
            SELECT * FROM unnest(
                commit_batch.shards, epochs, positions, sequences, heads, new_positions, new_command_ids,
                new_sequences, new_heads, new_times, published_sequences, published_offsets
            ) AS w (shard, epoch, position, sequence, head, new_position, new_command_id,
                    new_sequence, new_head, new_time, published_sequence, published_offset)
        ), held AS (
            SELECT s.shard FROM shards AS s WHERE s.shard IN (SELECT w.shard FROM wanted AS w)
            ORDER BY s.shard FOR UPDATE
        )
        UPDATE shards AS s
        SET position = w.new_position, position_command_id = w.new_command_id, sequence = w.new_sequence,
            head = w.new_head, last_time = w.new_time,
            published_sequence = w.published_sequence, published_offset = w.published_offset
        FROM wanted AS w JOIN held USING (shard)
        WHERE s.shard = w.shard AND s.epoch = w.epoch AND s.position = w.position
          AND s.sequence = w.sequence AND s.head = w.head AND s.state = 'active';
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> cardinality(commit_batch.shards) THEN
            RAISE EXCEPTION '% of % shards moved', cardinality(commit_batch.shards) - moved,
                cardinality(commit_batch.shards) USING ERRCODE = 'WL001';
        END IF;

        INSERT INTO stored_events (originator_id, originator_version, topic, state, shard, sequence)
        SELECT * FROM unnest(event_streams, event_versions, event_types, event_values,
                             event_shards, event_sequences);

        INSERT INTO receipts
            (stream, origin, key_hash, request_hash, shard, sequence, command_id, command_position)
        SELECT * FROM unnest(receipt_streams, receipt_origins, receipt_keys, receipt_requests,
                             receipt_shards, receipt_sequences, receipt_commands, receipt_positions);

        IF cardinality(attempt_shards) > 0 THEN
            INSERT INTO keyless_attempts
                (shard, sequence, stream, request_hash, attempt, recorded, command_id)
            SELECT * FROM unnest(attempt_shards, attempt_sequences, attempt_streams, attempt_requests,
                                 attempt_counts, attempt_times, attempt_commands);
        END IF;
    END $$
"""
"""The fence comes first, in shard order; fewer rows than shards means that another worker owns one of them."""


def upgrade() -> None:
    op.execute("DROP FUNCTION commit_batch")
    op.execute("""
        ALTER TABLE keyless_attempts
            ADD COLUMN command_id text NOT NULL DEFAULT '',
            DROP CONSTRAINT keyless_attempts_pkey,
            ADD PRIMARY KEY (shard, sequence, attempt)
    """)
    op.execute("ALTER TABLE keyless_attempts ALTER COLUMN command_id DROP DEFAULT")
    op.execute(COMMIT_BATCH)
