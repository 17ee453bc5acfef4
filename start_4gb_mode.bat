@echo off
rem headroom within 4 GB: a menu of the page, the API, both, and a test of the memory settings.
rem What is given here goes on to `acestep 4gb`, as in `start_4gb_mode.bat both`.
rem PYTHON names an interpreter in which headroom is installed; without it start.py brings one.
setlocal
cd /d "%~dp0" || exit /b 1
if defined PYTHON goto installed
where py >nul 2>nul
if errorlevel 1 goto python
py -3 start.py 4gb %*
exit /b %errorlevel%
:python
python start.py 4gb %*
exit /b %errorlevel%
:installed
"%PYTHON%" -m headroom 4gb %*
exit /b %errorlevel%
