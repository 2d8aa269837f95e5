"""What PostgreSQL knows about tables besides their rows: read from the live ones, said again for the shadow."""

from collections.abc import Iterable, Sequence
from typing import LiteralString, NamedTuple, cast

from psycopg import Connection, sql
from psycopg.rows import TupleRow

LIVE = "public"
SHADOW = "rebuild"

Session = Connection[TupleRow]


class View(NamedTuple):
    """A view that reads these tables, as it has to be said once they are others."""

    schema: str
    name: str
    options: list[LiteralString]
    query: LiteralString

    def parts(self) -> list[sql.Composable]:
        """Name, options and query of a CREATE OR REPLACE VIEW."""
        options = sql.SQL(f"WITH ({', '.join(self.options)})" if self.options else "")
        return [sql.Identifier(self.schema, self.name), options, sql.SQL(self.query)]


_TABLES = """
    WITH tables AS (
        SELECT c.oid, c.relname, c.relnamespace::regnamespace::text AS schema
        FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relname = ANY(%(names)s)
    )
"""
DESCRIBE: dict[str, LiteralString] = {
    "column": """
        SELECT relname, concat_ws(' ', row_number() OVER (PARTITION BY attrelid ORDER BY attnum), attname,
            format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage, attcompression,
            attcollation::regcollation, attstattarget, attoptions,
            (SELECT array_agg(item::text ORDER BY item::text) FROM unnest(attacl) AS item),
            pg_get_expr(adbin, adrelid), col_description(tables.oid, attnum))
        FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    """,
    "table": """
        SELECT c.relname, concat_ws(' ', relowner::regrole, relpersistence, relkind, reloptions,
            (SELECT array_agg(item::text ORDER BY item::text) FROM unnest(relacl) AS item), relrowsecurity,
            relforcerowsecurity, relreplident, obj_description(c.oid, 'pg_class'))
        FROM tables JOIN pg_class c USING (oid)
    """,
    "constraint": """
        SELECT relname, concat_ws(' ', conname, pg_get_constraintdef(c.oid), condeferrable, condeferred, convalidated)
        FROM tables JOIN pg_constraint c ON conrelid = tables.oid
    """,
    "index": """
        SELECT relname, pg_get_indexdef(indexrelid) FROM tables JOIN pg_index ON indrelid = tables.oid
    """,
    "policy": """
        SELECT relname, concat_ws(' ', polname, polpermissive, polroles::regrole[], polcmd,
            pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
        FROM tables JOIN pg_policy ON polrelid = tables.oid
    """,
    "trigger": """
        SELECT relname, concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled)
        FROM tables JOIN pg_trigger t ON tgrelid = tables.oid WHERE NOT tgisinternal
    """,
    "statistics": """
        SELECT relname, pg_get_statisticsobjdef(s.oid) FROM tables JOIN pg_statistic_ext s ON stxrelid = tables.oid
    """,
    "rule": """
        SELECT relname, pg_get_ruledef(r.oid) FROM tables JOIN pg_rewrite r ON ev_class = tables.oid
    """,
    "publication": """
        SELECT relname, pubname FROM tables JOIN pg_publication_rel ON prrelid = tables.oid
        JOIN pg_publication p ON p.oid = prpubid
    """,
    "parent": """
        SELECT relname, inhparent::regclass::text FROM tables JOIN pg_inherits ON inhrelid = tables.oid
    """,
}
KINDS = tuple(DESCRIBE)


def describe(session: Session, schema: str, names: Sequence[str], kinds: Iterable[str] = KINDS) -> set[str]:
    """Everything about these tables that does not depend on the schema they are in, one line each."""
    found = set()
    for kind in kinds:
        for table, text in _rows(session, DESCRIBE[kind], schema, names):
            found.add(f"{kind} of {table}: {text.replace(f' {schema}.', ' ')}")
    return found


def differences(session: Session, names: Sequence[str], kinds: Iterable[str]) -> set[str]:
    """What only one of live and shadow has."""
    chosen = list(kinds)
    return describe(session, LIVE, names, chosen) ^ describe(session, SHADOW, names, chosen)


def options(session: Session, names: Sequence[str]) -> dict[str, LiteralString]:
    """Statements that give the shadow what LIKE leaves out: storage, access, policies, triggers, statistics."""
    return {
        name: cast(LiteralString, statement)
        for query in _OPTIONS
        for name, statement in _in_full(session, query, names)
    }


def constraints(session: Session, names: Sequence[str]) -> dict[str, LiteralString]:
    """Statements for the keys and foreign keys that the shadow has not yet."""
    return _missing(session, names, _CONSTRAINTS)


def indexes(session: Session, names: Sequence[str]) -> dict[str, LiteralString]:
    """Statements for the indexes that belong to no constraint and that the shadow has not yet."""
    return _missing(session, names, _INDEXES)


def views(session: Session, names: Sequence[str]) -> list[View]:
    """Views that read these tables directly; those that read views follow by themselves."""
    rows = _in_full(session, _VIEWS, names)
    return [View(schema, name, list(options or ()), query) for schema, name, options, query in rows]


def _rows(session: Session, query: LiteralString, schema: str, names: Sequence[str]) -> list[TupleRow]:
    parameters = {"schema": schema, "names": list(names), "shadow": SHADOW}
    return session.execute(sql.Composed([sql.SQL(_TABLES), sql.SQL(query)]), parameters).fetchall()


def _missing(session: Session, names: Sequence[str], query: LiteralString) -> dict[str, LiteralString]:
    rows = _in_full(session, query, names)
    return {name: cast(LiteralString, statement) for name, statement in rows}


def _in_full(session: Session, query: LiteralString, names: Sequence[str]) -> list[TupleRow]:
    """Definitions name tables with their schema only where no schema is searched; the setting goes with the block."""
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL search_path = ''")
        return _rows(session, query, LIVE, names)


_CONSTRAINTS = """
    SELECT conname, format('ALTER TABLE %%I.%%I ADD CONSTRAINT %%I %%s', %(shadow)s::text, relname, conname,
        pg_get_constraintdef(c.oid))
    FROM tables JOIN pg_constraint c ON conrelid = tables.oid AND contype IN ('p', 'u', 'x', 'f')
    WHERE NOT EXISTS (
        SELECT FROM pg_constraint made WHERE made.conname = c.conname
        AND made.conrelid = to_regclass(format('%%I.%%I', %(shadow)s::text, relname)))
    ORDER BY contype DESC, conname
"""

_INDEXES = """
    SELECT i.relname, replace(pg_get_indexdef(indexrelid),
        format(' ON %%I.%%I USING ', schema, tables.relname),
        format(' ON %%I.%%I USING ', %(shadow)s::text, tables.relname))
    FROM tables JOIN pg_index ON indrelid = tables.oid JOIN pg_class i ON i.oid = indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
      AND to_regclass(format('%%I.%%I', %(shadow)s::text, i.relname)) IS NULL
    ORDER BY i.relname
"""

_VIEWS = """
    SELECT v.relnamespace::regnamespace::text, v.relname, v.reloptions, pg_get_viewdef(v.oid)
    FROM pg_class v WHERE v.relkind = 'v' AND v.oid IN (
        SELECT ev_class FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        JOIN tables ON d.refclassid = 'pg_class'::regclass AND d.refobjid = tables.oid)
    ORDER BY v.oid
"""

_OPTIONS: tuple[LiteralString, ...] = (
    """
    SELECT relname || ' options', format('ALTER TABLE %%I.%%I SET (%%s)', %(shadow)s::text, c.relname,
        array_to_string(reloptions, ', '))
    FROM tables JOIN pg_class c USING (oid, relname) WHERE reloptions IS NOT NULL
    """,
    """
    SELECT relname || ' security', format('ALTER TABLE %%I.%%I %%s ROW LEVEL SECURITY, %%s ROW LEVEL SECURITY',
        %(shadow)s::text, relname, CASE WHEN relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END,
        CASE WHEN relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END)
    FROM tables JOIN pg_class c USING (oid, relname) WHERE relrowsecurity OR relforcerowsecurity
    """,
    """
    SELECT concat_ws(' ', relname, grantee, privilege_type, 'grant'), format('GRANT %%s ON %%I.%%I TO %%s%%s',
        privilege_type, %(shadow)s::text, relname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM tables JOIN pg_class c USING (oid, relname), aclexplode(relacl)
    """,
    """
    SELECT concat_ws(' ', relname, attname, grantee, privilege_type), format('GRANT %%s (%%I) ON %%I.%%I TO %%s%%s',
        privilege_type, attname, %(shadow)s::text, relname,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM tables JOIN pg_attribute ON attrelid = tables.oid, aclexplode(attacl)
    """,
    """
    SELECT concat_ws(' ', relname, polname, 'policy'),
        format('CREATE POLICY %%I ON %%I.%%I AS %%s FOR %%s TO %%s', polname, %(shadow)s::text, relname,
            CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', ')
             FROM unnest(polroles) AS role))
        || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '')
        || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
    FROM tables JOIN pg_policy ON polrelid = tables.oid
    """,
    """
    SELECT concat_ws(' ', relname, tgname, 'trigger'), replace(pg_get_triggerdef(t.oid),
        format(' ON %%I.%%I ', schema, relname), format(' ON %%I.%%I ', %(shadow)s::text, relname))
    FROM tables JOIN pg_trigger t ON tgrelid = tables.oid WHERE NOT tgisinternal
    """,
)
