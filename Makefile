# make install | workbook | test | pytest | test-quick | test-browser | test-site | lab | notebooks | checkpoint | site
# | answers | test-answers | clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal
# What `make test` executes with nbval: all lessons, or the files named.
LESSONS ?= notebooks
# Bytecode is kept, also where the environment says otherwise: many short processes would compile the same files anew.
unexport PYTHONDONTWRITEBYTECODE

SITE := build/site

.PHONY: install workbook test pytest test-quick test-browser test-cluster test-colab test-wheel test-lowest lint lab notebooks checkpoint address site site-pages site-data test-site answers test-answers clean

# Only that: a virtual environment with everything the commands, lessons and tests need.
install: $(STAMP)

# Every lesson in the smoke profile; open results/smoke/index.html afterwards.
workbook: $(STAMP)
	$(BIN)/msa2net reproduce --profile smoke --output results

# Style and types beside pytest, whose processes, up to four, have one thread each: more threads than cores would wait
# for each other. Each process takes tests in their order, so that what a file's tests share is mostly made once, and
# helps another at the end. Then lessons, up to four at once, with the small settings that their entries in LESSONS name,
# so that nothing is trained at length again; what their compared cells print does not depend on them.
test: $(STAMP)
	$(MAKE) --jobs 2 lint pytest
	MSA2NET_QUICK=1 OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m pytest -q -p no:cacheprovider -n auto --maxprocesses 4 \
		--dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=1200 $(LESSONS)

pytest: $(STAMP)
	$(PYTEST)

# The daily loop: style, structure and every test that is not marked slow.
test-quick: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow"

# Lessons with a widget in a real page: JupyterLab in headless Chromium, which is installed where apt is at hand.
test-browser: $(STAMP)
	$(BIN)/python tests/browser/report.py
	MSA2NET_QUICK=1 OMP_NUM_THREADS=1 $(BIN)/python tests/browser/run.py

# A batch on a real Slurm of this one machine: Debian's packages, as root, on a machine for tests; outside of `make test`.
test-cluster: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/cluster/run.py

# What Google Colab has is left as it is: a resolution for its Python with its list as constraints; needs a registry,
# whose torch, other than Colab's for the CPU, wants packages of NVIDIA's. In Colab's own list, which may be named
# instead, torch is an address: `torch @ https://.../torch-2.11.0%2Bcpu-cp313-...whl`.
COLAB ?= tests/reference/colab_2026-08-19.txt
test-colab:
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv
	sed -nE -e 's/^([A-Za-z0-9._-]+) @ .*\/[A-Za-z0-9._]+-([0-9][0-9A-Za-z.]*)(%2B[^-]*)?-[^/]*\.whl.*/\1==\2/' \
		-e 's/^([A-Za-z0-9._-]+==[0-9][^+; ]*).*/\1/p' $(COLAB) | grep -v '^nvidia-' > build/colab.txt
	build/uv/bin/uv pip compile --quiet --python-version 3.13 --constraint build/colab.txt --extra colab pyproject.toml

# The wheel in a clean environment of its own, and lessons from another folder that it filled; outside of `make test`.
ELSEWHERE := build/elsewhere
test-wheel:
	rm -rf build/lib build/bdist.* $(ELSEWHERE)
	$(PYTHON) -m venv $(ELSEWHERE)/env
	$(ELSEWHERE)/env/bin/python -m pip install --quiet --constraint constraints.txt ".[notebooks]"
	cd $(ELSEWHERE) && env/bin/msa2net lessons mine && cd mine/notebooks && for lesson in 02_fusion 10_training 15_integration 16_paper_audit; do \
		MSA2NET_QUICK=1 OMP_NUM_THREADS=1 ../../env/bin/papermill --no-progress-bar $$lesson.ipynb ../$$lesson.ipynb || exit 1; done

# The lowest versions that pyproject.toml allows, in an environment of its own: networks and exports; outside of `make test`.
LOWEST := .venv-lowest
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[export,test]"
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -q tests/nn tests/export

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

lab: $(STAMP)
	cd notebooks && ../$(BIN)/jupyter lab 00_start_here.ipynb

# Execute the committed notebooks in place; run it whenever the library changes what they show.
notebooks: $(STAMP)
	$(BIN)/python -m msa2net_lib.lessons.execute

# The address of the repository, where it stands: make address URL=https://github.com/owner/name
address: $(STAMP)
	$(BIN)/python -m msa2net_lib.lessons.first_cells $(if $(URL),"$(URL)",$(error name it: make address URL=https://github.com/owner/name))

# Train the network that ships with the library, and its record.
checkpoint: $(STAMP)
	$(BIN)/python -m msa2net_lib.batch.shipped_checkpoint

# Lessons, task pages, API and MASAG live as pages that read without a network; it needs npm. Then every link is followed.
site: $(VENV)/installed-site site/node_modules/.package-lock.json
	$(MAKE) --jobs 2 site-pages site-data
	cd site && npm run --silent build ../$(SITE)
	$(BIN)/python site/slides.py $(SITE)/slides
	$(BIN)/python site/check_links.py $(SITE)

site-pages: $(VENV)/installed-site
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -c site . $(SITE)

site-data: $(STAMP) site/node_modules/.package-lock.json
	OMP_NUM_THREADS=1 $(BIN)/python site/live/make_data.py $(SITE)/data

# The live page: lint, its arithmetic, then a real browser at laptop and phone size.
test-site: site
	cd site && npm run --silent lint && npm run --silent test
	$(BIN)/python tests/browser/live.py

# The student's and the instructor's edition of each lesson.
answers: $(STAMP)
	$(BIN)/python site/editions.py build/answers

# Both of each are run, too, with the small settings of tests; outside of `make test`.
test-answers: $(STAMP)
	MSA2NET_QUICK=1 OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python site/editions.py build/answers --execute

$(VENV)/installed-site: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[site]"
	touch $@

site/node_modules/.package-lock.json: site/package.json site/package-lock.json
	cd site && npm ci --silent --no-audit --no-fund
	touch $@

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "Python 3.11.4 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[notebooks,drive,batch,test]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # as pip would, but on all cores; what is no Python 3 stays
	touch $(STAMP)

clean:
	rm -rf results data/virtual* data/patient2
