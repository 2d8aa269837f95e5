# Every target is deploy/bootstrap.py, which works by itself: python3 deploy/bootstrap.py help
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: run install test check prove bench bench-growth audit-deps lock clean help

run install test check prove bench bench-growth audit-deps lock clean help:
	@$(PYTHON) deploy/bootstrap.py $@ $(ARGS)
