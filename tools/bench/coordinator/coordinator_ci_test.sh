#!/bin/bash
exec tools/bench/coordinator/coordinator --form=ci
