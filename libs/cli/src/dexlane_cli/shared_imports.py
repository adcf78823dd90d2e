"""What the fork server has imported before it forks a service: what several services need of third parties, and of
``dexlane`` what is neither of a chain nor of keys. The import contracts and a test hold it to that."""

from __future__ import annotations

import aiosqlite
import alembic.command
import alembic.op
import httpx
import redis.asyncio
import sqlalchemy.dialects.sqlite.aiosqlite
import sqlalchemy.ext.asyncio
import uvicorn.lifespan.off
import uvicorn.protocols.http.h11_impl

import dexlane.domain.exits
import dexlane.domain.planning
import dexlane.domain.risk.assessment
import dexlane.domain.thoughts.counterfactual
import dexlane.domain.thoughts.recording
import dexlane.domain.trade_choice
import dexlane.domain.trade_search
import dexlane.runtime.breaker_board
import dexlane.runtime.breaker_store
import dexlane.runtime.code_version
import dexlane.runtime.collector
import dexlane.runtime.compliance_files
import dexlane.runtime.journal
import dexlane.runtime.latest
import dexlane.runtime.lease
import dexlane.runtime.migrate
import dexlane.runtime.pool_mirror
import dexlane.runtime.service
import dexlane.runtime.spoken_breakers
import dexlane.runtime.stored_values

__all__ = ["aiosqlite", "alembic", "dexlane", "httpx", "redis", "sqlalchemy", "uvicorn"]
