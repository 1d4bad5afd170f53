"""HTTP: parsing requests, shaping answers and problems. Only this package and the composition root know Litestar."""
